refuses("set_ca_cert_bundle", { name: "issuers", cert_bundle: "PEM" }, /cert_bundle must be an X.509 certificate in PEM/);
refuses("set_ca_cert_bundle", { cert_bundle: CERTIFICATE }, /name is missing/);
carries("set_ca_cert_bundle", { name: "issuers", cert_bundle: CERTIFICATE });
equal(readRow(CA_CERT_BUNDLES, textKey("issuers")), CERTIFICATE);
