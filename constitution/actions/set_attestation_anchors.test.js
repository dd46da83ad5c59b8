refuses("set_attestation_anchors", { root: "arm", certificates: [] }, /root must be one of amd_milan/);
refuses("set_attestation_anchors", { root: "intel", certificates: "x" }, /must be a list/);
refuses("set_attestation_anchors", { root: "intel", certificates: ["AB".repeat(32)] }, /64 lower-case/);
writeRow(PROPOSALS_INFO, textKey("p"), { proposer_id: "m", state: "Open", ballots: {} });
carries("set_attestation_anchors", { root: "intel", certificates: ["ab".repeat(32)] });
equal(readRow(ATTESTATION_ANCHORS, textKey("intel")), ["ab".repeat(32)]);
equal(readRow(PROPOSALS_INFO, textKey("p")).state, "Dropped");
