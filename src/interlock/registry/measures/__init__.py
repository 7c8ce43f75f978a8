"""What a model is worth on rows whose truth is known: metrics with intervals, for gates, monitors and canaries."""
