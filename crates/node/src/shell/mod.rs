//! The shell: threads, sockets, the real disk and the real clock around the machines.

mod disk;
mod history_store;
mod replica_thread;
mod threads;
