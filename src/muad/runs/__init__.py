"""The files of a run folder as facts: what lies where, what a file must hold, and whether it is whole."""
