refuses("add_virtual_measurement", { measurement: "xyz" }, /64 hexadecimal/);
writeRow(PROPOSALS_INFO, textKey("p"), { proposer_id: "m", state: "Open", ballots: {} });
carries("add_virtual_measurement", { measurement: "AB".repeat(32) });
equal(readRow(VIRTUAL_MEASUREMENTS, textKey("ab".repeat(32))), "AllowedToJoin");
equal(readRow(PROPOSALS_INFO, textKey("p")).state, "Dropped");
