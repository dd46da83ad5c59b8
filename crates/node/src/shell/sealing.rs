//! What a node seals with.
//!
//! The platform's key, where it has one: then no file is ever read for it, since the host writes the folder and could plant a key that it knows. On the
//! virtual platform a file beside what it seals, which protects nothing. On a real platform without a key such a file only if the configuration says so,
//! which its evidence then covers; else the key stays in memory, and whoever starts again finds nothing that it could open: it sets the folder aside and
//! comes as a node that was never there.

use std::path::Path;

use coco_attestation::{EvidenceSource, TeeKind};
use coco_crypto::{AeadKey, Crypto, Nonce, SymmetricKey};
use coco_disk::Disk;
use zeroize::Zeroizing;

use crate::config::NodeConfig;
use crate::shell::NodeError;
use crate::{identity, known};

const KEY_FILE: &str = "sealing.key";
/// What the platform needs to be asked for the same key again: no secret.
const KEPT_FILE: &str = "sealed-by-platform";
const HISTORY: (&str, &[u8]) = ("history.sealed", b"coco.history.secret.v1");
/// Folders that are of no use to a node that cannot open its secrets.
const FOLDERS: [&str; 3] = ["ledger", "consensus", "snapshots"];

/// See the module's text.
pub struct Sealing {
    pub key: SymmetricKey,
    /// It was made just now and is kept nowhere: nothing of an earlier life opens with it.
    pub is_of_this_life: bool,
}

impl Sealing {
    pub fn open(
        config: &NodeConfig,
        platform: &dyn EvidenceSource,
        disk: &dyn Disk,
        crypto: &dyn Crypto,
    ) -> Result<Self, NodeError> {
        let kept = if disk.exists(KEPT_FILE)? { Some(disk.read_all(KEPT_FILE)?) } else { None };
        let given = platform.sealing_key(kept.as_deref()).map_err(|error| NodeError::Platform(error.to_string()))?;
        let has_file = disk.exists(KEY_FILE)?;
        let Some(given) = given else {
            if kept.is_some() {
                return Err(NodeError::SealingKey);
            }
            return match (platform.kind() == TeeKind::Virtual || config.sealing_key_file, has_file) {
                (true, _) => Ok(Self { key: key_in_file(disk, crypto)?, is_of_this_life: false }),
                (false, true) => Err(NodeError::SealingKeyFile),
                (false, false) => Ok(Self { key: SymmetricKey::generate(crypto), is_of_this_life: true }),
            };
        };
        if has_file {
            return Err(NodeError::SealingKeyPlanted);
        }
        if let Some(before) = &given.before {
            seal_anew(disk, before, &given.key, crypto)?;
        }
        if kept.as_ref() != Some(&given.keep) {
            disk.replace(KEPT_FILE, &given.keep)?;
        }
        Ok(Self { key: given.key, is_of_this_life: false })
    }

    /// Puts away what an earlier life left and nothing opens any more. The ledger's files are kept: they may be the last ones. The identity goes last, so
    /// that a crash in between begins again.
    pub fn set_aside_earlier_life(data: &Path, disk: &dyn Disk) -> Result<bool, NodeError> {
        let [(identity, _), (epochs, _)] = identity::SEALED;
        if !disk.exists(identity)? {
            return Ok(false);
        }
        let path = |folder: &str, life: u32| data.join(format!("{folder}.of-earlier-life-{life}"));
        let is_free = |life: &u32| FOLDERS.iter().all(|folder| !path(folder, *life).exists());
        let life = (1..=u32::MAX).find(is_free).unwrap_or(u32::MAX);
        for folder in FOLDERS {
            let (from, to) = (data.join(folder), path(folder, life));
            if from.exists() {
                tracing::warn!(from = %from.display(), to = %to.display(), "set aside: the key of its secrets ended with the process");
                std::fs::rename(from, to)?;
            }
        }
        for file in [HISTORY.0, known::SEALED.0, epochs, identity] {
            if disk.exists(file)? {
                disk.remove(file)?;
            }
        }
        disk.sync_names()?;
        Ok(true)
    }
}

/// No protection from whoever holds the disk.
fn key_in_file(disk: &dyn Disk, crypto: &dyn Crypto) -> Result<SymmetricKey, NodeError> {
    if disk.exists(KEY_FILE)? {
        let bytes = Zeroizing::new(disk.read_all(KEY_FILE)?);
        return bytes.as_slice().try_into().map(SymmetricKey::from_bytes).map_err(|_| NodeError::SealingKey);
    }
    let key = SymmetricKey::generate(crypto);
    disk.replace(KEY_FILE, key.expose())?;
    Ok(key)
}

/// What was sealed with an older key.
fn seal_anew(disk: &dyn Disk, before: &SymmetricKey, now: &SymmetricKey, crypto: &dyn Crypto) -> Result<(), NodeError> {
    let (before, now) = (AeadKey::new(before), AeadKey::new(now));
    for (file, context) in identity::SEALED.into_iter().chain([known::SEALED, HISTORY]) {
        if !disk.exists(file)? {
            continue;
        }
        let sealed = disk.read_all(file)?;
        // A crash in the middle leaves some of either.
        if now.open_from_slice(context, &sealed).is_ok() {
            continue;
        }
        let plain = Zeroizing::new(before.open_from_slice(context, &sealed).map_err(|_| NodeError::SealingKey)?);
        disk.replace(file, &now.seal_to_vec(nonce(crypto), context, &plain))?;
    }
    Ok(())
}

/// Of the node's history store; made at the first start.
pub fn history_secret(disk: &dyn Disk, sealing: &SymmetricKey, crypto: &dyn Crypto) -> Result<SymmetricKey, NodeError> {
    let seal = AeadKey::new(sealing);
    let (file, context) = HISTORY;
    if disk.exists(file)? {
        let sealed = disk.read_all(file)?;
        let bytes = Zeroizing::new(seal.open_from_slice(context, &sealed).map_err(|_| NodeError::SealingKey)?);
        return bytes.as_slice().try_into().map(SymmetricKey::from_bytes).map_err(|_| NodeError::SealingKey);
    }
    let secret = SymmetricKey::generate(crypto);
    disk.replace(file, &seal.seal_to_vec(nonce(crypto), context, secret.expose()))?;
    Ok(secret)
}

fn nonce(crypto: &dyn Crypto) -> Nonce {
    let mut nonce = Nonce([0; 12]);
    crypto.fill(&mut nonce.0);
    nonce
}

#[cfg(test)]
mod tests {
    use coco_attestation::{Evidence, ReportData, SealingKey, SourceError};
    use coco_crypto::SeededCrypto;
    use coco_disk::MemoryDisk;

    use super::*;
    use crate::fixture;
    use crate::identity::Identity;
    use crate::shell::FolderDisk;

    /// A platform whose key is this, and was that before.
    struct Platform {
        kind: TeeKind,
        key: Option<u8>,
        before: Option<u8>,
    }

    impl EvidenceSource for Platform {
        fn kind(&self) -> TeeKind {
            self.kind
        }

        fn evidence(&self, _: &ReportData) -> Result<Evidence, SourceError> {
            unreachable!("nobody asks")
        }

        fn sealing_key(&self, kept: Option<&[u8]>) -> Result<Option<SealingKey>, SourceError> {
            let key = |byte| SymmetricKey::from_bytes([byte; 32]);
            let before = self.before.filter(|_| kept.is_some()).map(key);
            Ok(self.key.map(|byte| SealingKey { key: key(byte), keep: vec![byte], before }))
        }
    }

    fn platform(kind: TeeKind, key: Option<u8>) -> Platform {
        Platform { kind, key, before: None }
    }

    fn open(platform: &Platform, key_file: bool, disk: &dyn Disk) -> Result<Sealing, NodeError> {
        let config = NodeConfig { sealing_key_file: key_file, ..fixture::config(Path::new("/nowhere")) };
        Sealing::open(&config, platform, disk, &SeededCrypto::new(1))
    }

    #[test]
    fn a_key_that_the_host_puts_into_the_folder_is_never_sealed_with_where_the_platform_has_its_own() {
        let disk = MemoryDisk::new();
        disk.replace(KEY_FILE, &[7; 32]).unwrap();
        let own = platform(TeeKind::SevSnp, Some(1));
        for key_file in [false, true] {
            assert!(matches!(open(&own, key_file, &disk), Err(NodeError::SealingKeyPlanted)));
        }
        assert!(!disk.exists(KEPT_FILE).unwrap());
        disk.remove(KEY_FILE).unwrap();
        let sealing = open(&own, false, &disk).unwrap();
        assert!(sealing.key.expose() == &[1; 32] && !sealing.is_of_this_life);
        assert!(!disk.exists(KEY_FILE).unwrap());
        assert_eq!(disk.read_all(KEPT_FILE).unwrap(), [1]);
        // The device is hidden from the node.
        let none = platform(TeeKind::SevSnp, None);
        assert!(matches!(open(&none, true, &disk), Err(NodeError::SealingKey)));
    }

    #[test]
    fn a_real_platform_without_a_key_writes_one_down_only_where_the_configuration_says_so() {
        let disk = MemoryDisk::new();
        let domain = platform(TeeKind::Tdx, None);
        assert!(open(&domain, false, &disk).unwrap().is_of_this_life);
        assert!(disk.names().unwrap().is_empty());
        let written = open(&domain, true, &disk).unwrap();
        assert!(!written.is_of_this_life && disk.read_all(KEY_FILE).unwrap() == written.key.expose());
        assert!(open(&domain, true, &disk).unwrap().key.expose() == written.key.expose());
        assert!(matches!(open(&domain, false, &disk), Err(NodeError::SealingKeyFile)));
    }

    #[test]
    fn the_virtual_platform_keeps_its_key_in_a_file() {
        let disk = MemoryDisk::new();
        let first = open(&platform(TeeKind::Virtual, None), false, &disk).unwrap();
        assert!(open(&platform(TeeKind::Virtual, None), false, &disk).unwrap().key.expose() == first.key.expose());
    }

    #[test]
    fn what_older_firmware_could_open_is_sealed_anew() {
        let (disk, crypto) = (MemoryDisk::new(), SeededCrypto::new(2));
        let first = open(&platform(TeeKind::SevSnp, Some(1)), false, &disk).unwrap();
        fixture::identity(&crypto).store(&disk, &first.key, &crypto).unwrap();
        let history = history_secret(&disk, &first.key, &crypto).unwrap();
        let updated = Platform { kind: TeeKind::SevSnp, key: Some(2), before: Some(1) };
        let now = open(&updated, false, &disk).unwrap();
        assert!(now.key.expose() == &[2; 32] && disk.read_all(KEPT_FILE).unwrap() == [2]);
        assert!(Identity::load(&disk, &now.key).unwrap().is_some());
        assert!(Identity::load(&disk, &first.key).is_err());
        assert!(history_secret(&disk, &now.key, &crypto).unwrap().expose() == history.expose());
        assert!(matches!(history_secret(&disk, &first.key, &crypto), Err(NodeError::SealingKey)));
        let stranger = Platform { kind: TeeKind::SevSnp, key: Some(9), before: Some(8) };
        assert!(matches!(open(&stranger, false, &disk), Err(NodeError::SealingKey)));
    }

    #[test]
    fn a_life_whose_key_is_gone_is_set_aside_whole_and_its_ledger_kept() {
        let (folder, crypto) = (tempfile::tempdir().unwrap(), SeededCrypto::new(3));
        let disk = FolderDisk::open(folder.path()).unwrap();
        assert!(!Sealing::set_aside_earlier_life(folder.path(), &disk).unwrap(), "nothing was there");
        for life in 1..=2 {
            let key = SymmetricKey::generate(&crypto);
            fixture::identity(&crypto).store(&disk, &key, &crypto).unwrap();
            history_secret(&disk, &key, &crypto).unwrap();
            std::fs::create_dir(folder.path().join("ledger")).unwrap();
            std::fs::write(folder.path().join("ledger/ledger_1"), [life]).unwrap();
            assert!(Sealing::set_aside_earlier_life(folder.path(), &disk).unwrap());
            assert!(!folder.path().join("ledger").exists() && disk.names().unwrap().is_empty());
            let kept = folder.path().join(format!("ledger.of-earlier-life-{life}/ledger_1"));
            assert_eq!(std::fs::read(kept).unwrap(), [life]);
        }
    }
}
