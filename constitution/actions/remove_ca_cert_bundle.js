actions.set("remove_ca_cert_bundle", {
  validate: (args) => checkArgs(args, { name: is.words }),
  apply: ({ name }) => ccf.kv[CA_CERT_BUNDLES].delete(textKey(name)),
  describe: ({ name }) => `Forget the CA certificates named ${name}`,
});
