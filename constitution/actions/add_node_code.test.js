refuses("add_node_code", { code_id: "ab" }, /64 hexadecimal/);
carries("add_node_code", { code_id: "AB".repeat(32) });
equal(readRow(SGX_MEASUREMENTS, textKey("ab".repeat(32))), "AllowedToJoin");
