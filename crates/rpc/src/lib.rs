//! TLS and HTTP serving, the node's own endpoints.
