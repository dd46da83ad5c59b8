actions.set("set_jwt_public_signing_keys", {
  validate: (args) => checkArgs(args, { issuer: is.string, jwks: is.jwks }),
  apply({ issuer, jwks }) {
    const row = mustExist(JWT_ISSUERS, issuer, "token issuer");
    ccf.setJwtPublicSigningKeys(issuer, row, jwks);
  },
  describe: ({ issuer, jwks }) =>
    `Take tokens of ${issuer} if they are signed with ${jwks.keys.map(({ kid }) => kid).join(" or ") || "no key"}, and with no key of before`,
});
