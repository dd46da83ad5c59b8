const ID = "ab".repeat(32);
refuses("remove_vbs_module", { unique_id: ID }, /no such module/);
carries("set_attestation_policy", { section: "vbs", policy: { modules: [{ unique_id: ID, author_id: null, min_svn: 0 }], min_platform_svn: 2 } });
carries("remove_vbs_module", { unique_id: ID.toUpperCase() });
equal(readRow(ATTESTATION_POLICY, textKey("vbs")), { modules: [], min_platform_svn: 2 });
