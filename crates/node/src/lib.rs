//! One node: its synchronous machines, and the shell that runs them.
