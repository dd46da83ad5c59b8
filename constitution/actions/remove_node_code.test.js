carries("add_node_code", { code_id: "ab".repeat(32) });
carries("remove_node_code", { code_id: "ab".repeat(32) });
equal(ccf.kv[SGX_MEASUREMENTS].has(textKey("ab".repeat(32))), false);
