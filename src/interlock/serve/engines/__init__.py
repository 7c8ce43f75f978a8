"""What calculates: one file an engine, behind one port."""
