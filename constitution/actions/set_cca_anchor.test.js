const PLATFORM = { instance_id: "01" + "AB".repeat(32), implementation_id: "cd".repeat(32), key: "30".repeat(120) };
refuses("set_cca_anchor", { ...PLATFORM, instance_id: "ab" }, /66 hexadecimal/);
refuses("set_cca_anchor", { ...PLATFORM, key: "xyz" }, /SubjectPublicKeyInfo/);
carries("set_cca_anchor", PLATFORM);
equal(readRow(ATTESTATION_ANCHORS, textKey("cca:01" + "ab".repeat(32))), { implementation_id: "cd".repeat(32), key: "30".repeat(120) });
