const INSTANCE = "01" + "ab".repeat(32);
carries("set_cca_anchor", { instance_id: INSTANCE, implementation_id: "cd".repeat(32), key: "30".repeat(120) });
carries("remove_cca_anchor", { instance_id: INSTANCE });
equal(ccf.kv[ATTESTATION_ANCHORS].has(textKey(`cca:${INSTANCE}`)), false);
