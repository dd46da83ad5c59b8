actions.set("set_all_nodes_certificate_validity", {
  validate: (args) => checkValidity(args, {}, "node"),
  apply: ({ valid_from, validity_period_days }) =>
    ccf.coco.renewNodeCertificates(undefined, unixSeconds(valid_from), validity_period_days ?? certificateDaysMax("node")),
  describe: (args) => `Renew the certificates of all trusted nodes, ${validityWords(args, "node")}`,
});
