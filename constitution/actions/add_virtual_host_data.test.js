refuses("add_virtual_host_data", { host_data: "abc" }, /64 hexadecimal/);
writeRow(PROPOSALS_INFO, textKey("p"), { proposer_id: "m", state: "Open", ballots: {} });
carries("add_virtual_host_data", { host_data: "AB".repeat(32) });
equal(ccf.kv[VIRTUAL_HOST_DATA].has(textKey("ab".repeat(32))), true);
equal(readRow(PROPOSALS_INFO, textKey("p")).state, "Dropped");
