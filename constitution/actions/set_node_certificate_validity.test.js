const [node] = rows(NODE_INFO)[0];
const other = "ab".repeat(32);
refuses("set_node_certificate_validity", { node_id: "x", valid_from: "20261121000000Z" }, /node_id/);
refuses("set_node_certificate_validity", { node_id: node }, /valid_from/);
fails("set_node_certificate_validity", { node_id: other, valid_from: "20261121000000Z" }, /there is no node/);
carries("set_node_certificate_validity", { node_id: node, valid_from: "20261121000000Z", validity_period_days: 30 });
writeRow(NODE_INFO, textKey(node), { ...readRow(NODE_INFO, textKey(node)), status: "Retired" });
fails("set_node_certificate_validity", { node_id: node, valid_from: "20261121000000Z" }, /is not trusted/);
