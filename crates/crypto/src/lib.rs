//! Hashing, signing, sealing, key derivation, X.509 and COSE: thin safe faces over one backend.
