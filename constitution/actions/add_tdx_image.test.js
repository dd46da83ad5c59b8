const TD = { mrtd: "AB".repeat(48), rtmrs: { 1: "cd".repeat(48) } };
refuses("add_tdx_image", {}, /mrtd is missing/);
refuses("add_tdx_image", { ...TD, rtmrs: { 4: "cd".repeat(48) } }, /rtmrs are named 0 to 3/);
refuses("add_tdx_image", { ...TD, rtmrs: { 0: "cd" } }, /rtmrs 0 must be 96 hexadecimal/);
carries("set_attestation_policy", { section: "tdx", policy: { seam_modules: ["00"] } });
writeRow(PROPOSALS_INFO, textKey("p"), { proposer_id: "m", state: "Open", ballots: {} });
carries("add_tdx_image", TD);
carries("add_tdx_image", { ...TD, mrowner: null });
equal(readRow(ATTESTATION_POLICY, textKey("tdx")), {
  seam_modules: ["00"],
  images: [{ mrtd: "ab".repeat(48), rtmrs: { 1: "cd".repeat(48) } }],
});
equal(readRow(PROPOSALS_INFO, textKey("p")).state, "Dropped");
carries("add_tdx_image", { mrtd: "ef".repeat(48) });
equal(readRow(ATTESTATION_POLICY, textKey("tdx")).images.length, 2);
