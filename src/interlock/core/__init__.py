"""The vocabulary: records, references, errors, events, settings, operations, ports, plug-ins, clock. No I/O."""
