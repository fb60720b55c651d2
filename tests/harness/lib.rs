//! Starting, waiting for and cleaning up the real programs.
