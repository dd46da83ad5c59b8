actions.set("remove_jwt_issuer", {
  validate: (args) => checkArgs(args, { issuer: is.string }),
  apply({ issuer }) {
    ccf.kv[JWT_ISSUERS].delete(textKey(issuer));
    ccf.removeJwtPublicSigningKeys(issuer);
  },
  describe: ({ issuer }) => `Take no more tokens of ${issuer}`,
});
