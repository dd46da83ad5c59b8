const KEY = {
  kid: "one",
  kty: "EC",
  crv: "P-256",
  x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
  y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
};
refuses("set_jwt_issuer", { issuer: "" }, /must not be empty/);
refuses("set_jwt_issuer", { issuer: "https://id.example", auto_refresh: true }, /name members as refreshers/);
refuses("set_jwt_issuer", { issuer: "https://id.example", audience: [] }, /audience must be a list of texts/);
refuses("set_jwt_issuer", { issuer: "https://id.example", refreshers: ["me"] }, /64 lower-case hexadecimal digits/);
refuses("set_jwt_issuer", { issuer: "https://id.example", jwks: { keys: [{ kid: "x", kty: "oct", k: "AA" }] } }, /secret/);
carries("set_jwt_issuer", { issuer: "https://id.example", audience: ["coco"], jwks: { keys: [KEY] } });
const key = textKey("https://id.example");
equal(readRow(JWT_ISSUERS, key), { issuer: "https://id.example", audience: ["coco"] });
equal(readRow("public:ccf.gov.jwt.public_signing_keys_metadata_v2", textKey("one"))[0].issuer, "https://id.example");
