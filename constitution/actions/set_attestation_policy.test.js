refuses("set_attestation_policy", { section: "tpm", policy: {} }, /section must be one of virtual_tee, sev_snp/);
refuses("set_attestation_policy", { section: "tdx", policy: [] }, /policy must be an object/);
refuses("set_attestation_policy", { section: "tdx", policy: { mrtd: "00" } }, /has no field mrtd/);
refuses("set_attestation_policy", { section: "tdx" }, /policy is missing/);
writeRow(PROPOSALS_INFO, textKey("p"), { proposer_id: "m", state: "Open", ballots: {} });
carries("set_attestation_policy", { section: "nitro", policy: { images: [{ 0: "ab".repeat(48) }] } });
equal(readRow(ATTESTATION_POLICY, textKey("nitro")), { images: [{ 0: "ab".repeat(48) }] });
equal(readRow(PROPOSALS_INFO, textKey("p")).state, "Dropped");
