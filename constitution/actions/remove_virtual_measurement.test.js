carries("add_virtual_measurement", { measurement: "ab".repeat(32) });
carries("remove_virtual_measurement", { measurement: "ab".repeat(32) });
equal(ccf.kv[VIRTUAL_MEASUREMENTS].has(textKey("ab".repeat(32))), false);
