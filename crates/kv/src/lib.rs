//! Transactional multi-version maps: one writer, many readers on consistent snapshots.
