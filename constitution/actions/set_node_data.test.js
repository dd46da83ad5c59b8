const id = "a".repeat(64);
fails("set_node_data", { node_id: id, node_data: {} }, /there is no node/);
writeRow(NODE_INFO, textKey(id), { status: "Trusted", index: 7 });
carries("set_node_data", { node_id: id, node_data: { site: "Oslo" } });
equal(readRow(NODE_INFO, textKey(id)), { status: "Trusted", index: 7, node_data: { site: "Oslo" } });
