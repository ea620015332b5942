"""The fastest open engines beside gridtwin: same powers in, same voltages, angles and loadings out.

A module per engine (`pgm`, `ls2g`, `tpf`), each with a class that is built from a
`PeerCase` through the engine's own interface and has `run(p_mw, q_mvar)`. Libraries
are imported where they are used, so that a machine without one of them still runs
the others: `check_library` says what is missing.
"""
