refuses("add_ledger", { ledger: "sawtooth" }, /genesis is missing/);
refuses("add_ledger", { ledger: "Saw Tooth", genesis: {} }, /ledger must be the name of a ledger/);
refuses("add_ledger", { ledger: "sawtooth", genesis: [] }, /genesis must be an object/);
carries("add_ledger", { ledger: "sawtooth", genesis: { block_interval_ms: 50 } });
equal(readRow(ADDED_LEDGERS, textKey("sawtooth")), { genesis: { block_interval_ms: 50 } });
refuses("add_ledger", { ledger: "sawtooth", genesis: {} }, /hosts the ledger sawtooth already/);
refuses("add_ledger", { ledger: "records", genesis: {} }, /hosts the ledger records already/);
equal(describe(asProposal("add_ledger", { ledger: "records", genesis: {} }))[0].includes("its code's own defaults"), true);
equal(describe(asProposal("add_ledger", { ledger: "records", genesis: { long: "x".repeat(500) } }))[0].includes("of 511 characters"), true);
