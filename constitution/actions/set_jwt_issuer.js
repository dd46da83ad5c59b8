// Whoever has a token of this issuer uses the network in its name. Nodes fetch nothing: keys come by vote, or from the members that are
// named as `refreshers`, who need no votes for them.
actions.set("set_jwt_issuer", {
  validate(args) {
    checkArgs(args, {
      issuer: is.string,
      "auto_refresh?": is.flag,
      "ca_cert_bundle_name?": is.string,
      "jwks?": is.jwks,
      "audience?": is.texts,
      "refreshers?": is.ids,
    });
    if (args.issuer === "") fail("issuer must not be empty");
    if (args.auto_refresh) fail("nodes fetch no keys (auto_refresh): name members as refreshers, who bring them");
  },
  apply({ jwks, refreshers, ...issuer }) {
    if (refreshers) issuer.refreshers = refreshers;
    writeRow(JWT_ISSUERS, textKey(issuer.issuer), issuer);
    if (jwks) ccf.setJwtPublicSigningKeys(issuer.issuer, issuer, jwks);
  },
  describe({ issuer, jwks, audience, refreshers }) {
    const keys = jwks ? `, signed with one of ${jwks.keys.length} keys` : "";
    const whom = audience ? `made for ${audience.join(" or ")}` : "made for ANY audience, other services' too";
    const who = refreshers ? `; ${refreshers.map((id) => memberName(id)).join(", ")} may replace the keys without votes` : "";
    return `Let whoever has a token of ${issuer} use the network, if it is ${whom}${keys}${who}`;
  },
});
