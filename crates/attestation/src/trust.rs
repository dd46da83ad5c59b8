//! What verification leans on: anchors that members voted, and signed collateral that anyone may have brought.
//!
//! An anchor is a whole root certificate, by its SHA-256: never a subject's name. The roots themselves travel with the evidence.

use std::collections::{BTreeMap, BTreeSet};

use coco_types::Digest;
use serde::{Deserialize, Serialize};

use crate::collateral::Collateral;

/// Whose root it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    AmdMilan,
    AmdGenoa,
    AmdTurin,
    Intel,
    AwsNitro,
    /// Vendors of TPMs, or platforms that certify their attestation keys.
    Tpm,
}

/// The accepted roots.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Anchors {
    /// SHA-256 of root certificates in DER.
    pub roots: BTreeMap<Root, BTreeSet<Digest>>,
    /// Keys of Arm platforms, by instance id in lower-case hex.
    pub cca: BTreeMap<String, CcaAnchor>,
}

/// The attestation key of one Arm platform (CPAK).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CcaAnchor {
    /// Hex.
    pub implementation_id: String,
    /// SubjectPublicKeyInfo, hex.
    pub key: String,
}

/// Everything that a verification may know besides the evidence and the time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trust {
    pub anchors: Anchors,
    pub collateral: Collateral,
    /// Roots below which a missing revocation list is tolerated.
    pub crl_optional: BTreeSet<Root>,
}

/// The vendors' own roots, as they publish them.
const VENDOR_ROOTS: [(Root, &str); 5] = [
    (Root::AmdMilan, "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"),
    (Root::AmdGenoa, "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"),
    (Root::AmdTurin, "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"),
    (Root::Intel, "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"),
    (Root::AwsNitro, "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"),
];

impl Root {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AmdMilan => "amd_milan",
            Self::AmdGenoa => "amd_genoa",
            Self::AmdTurin => "amd_turin",
            Self::Intel => "intel",
            Self::AwsNitro => "aws_nitro",
            Self::Tpm => "tpm",
        }
    }
}

impl Anchors {
    /// The roots that AMD, Intel and AWS publish. Arm and TPMs have no universal ones: those are entered by vote.
    pub fn vendors() -> Self {
        let mut anchors = Self::default();
        for (root, digest) in VENDOR_ROOTS {
            let digest = digest.parse().expect("a vendor's root is 32 bytes in hex");
            anchors.roots.entry(root).or_default().insert(digest);
        }
        anchors
    }

    /// The roots among these that no vendor published: what every banner must show.
    pub fn foreign_roots(&self) -> Vec<(Root, Digest)> {
        let vendors = Self::vendors();
        let all = self.roots.iter().flat_map(|(root, digests)| digests.iter().map(|digest| (*root, *digest)));
        all.filter(|(root, digest)| !vendors.roots.get(root).is_some_and(|known| known.contains(digest))).collect()
    }

    /// One value for all accepted anchors: SHA-256 of their canonical JSON.
    pub fn digest(&self) -> Digest {
        coco_crypto::sha256(&serde_json::to_vec(self).expect("anchors have only string keys"))
    }

    pub(crate) fn of(&self, root: Root) -> Option<&BTreeSet<Digest>> {
        self.roots.get(&root).filter(|digests| !digests.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_no_vendor_published_are_named() {
        let mut anchors = Anchors::vendors();
        assert_eq!(anchors.foreign_roots(), []);
        let before = anchors.digest();
        anchors.roots.entry(Root::Intel).or_default().insert(Digest([1; 32]));
        assert_eq!(anchors.foreign_roots(), [(Root::Intel, Digest([1; 32]))]);
        assert_ne!(anchors.digest(), before);
    }
}
