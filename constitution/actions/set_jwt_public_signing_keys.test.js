const jwks = {
  keys: [
    {
      kid: "two",
      kty: "EC",
      crv: "P-256",
      x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
      y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    },
  ],
};
const keys = () => rows("public:ccf.gov.jwt.public_signing_keys_metadata_v2").map(([kid, [{ issuer }]]) => [kid, issuer]);
refuses("set_jwt_public_signing_keys", { issuer: "a", jwks: {} }, /keys/);
fails("set_jwt_public_signing_keys", { issuer: "a", jwks }, /there is no token issuer a/);
writeRow(JWT_ISSUERS, textKey("a"), { issuer: "a" });
carries("set_jwt_public_signing_keys", { issuer: "a", jwks });
equal(keys(), [["two", "a"]]);
carries("set_jwt_public_signing_keys", { issuer: "a", jwks: { keys: [] } });
equal(keys(), []);

// Whom the members named brings new keys without votes, and nothing else.
const isAccepted = (actions, proposer) => resolve(JSON.stringify({ actions }), proposer, [], "this") === "Accepted";
const refresh = { name: "set_jwt_public_signing_keys", args: { issuer: "a", jwks } };
writeRow(JWT_ISSUERS, textKey("a"), { issuer: "a", refreshers: ["me"] });
equal(isAccepted([refresh], "me"), true);
equal(isAccepted([refresh], "you"), false);
equal(isAccepted([refresh, { name: "remove_jwt_issuer", args: { issuer: "a" } }], "me"), false);
equal(isAccepted([{ ...refresh, args: { issuer: "b", jwks } }], "me"), false);
