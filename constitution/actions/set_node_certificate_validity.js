actions.set("set_node_certificate_validity", {
  validate: (args) => checkValidity(args, { node_id: is.id }, "node"),
  apply({ node_id, valid_from, validity_period_days }) {
    const info = mustExist(NODE_INFO, node_id, "node");
    if (info.status !== "Trusted") fail(`the node ${node_id} is not trusted`);
    ccf.coco.renewNodeCertificates(node_id, unixSeconds(valid_from), validity_period_days ?? certificateDaysMax("node"));
  },
  describe: (args) => `Renew the certificate of the node ${nodeName(args.node_id)}, ${validityWords(args, "node")}`,
});
