// For whoever reads them at /gov/service/jwk: programs that fetch an issuer's keys, and bring them by a proposal. Nodes fetch nothing.
actions.set("set_ca_cert_bundle", {
  validate: (args) => checkArgs(args, { name: is.words, cert_bundle: is.certificate }),
  apply: ({ name, cert_bundle }) => writeRow(CA_CERT_BUNDLES, textKey(name), cert_bundle),
  describe: ({ name, cert_bundle }) =>
    `Name ${cert_bundle.split("-----BEGIN CERTIFICATE-----").length - 1} CA certificates as ${name}, for programs that fetch the keys of token issuers`,
});
