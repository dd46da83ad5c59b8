//! Many nodes, one thread, one seed.
