refuses("set_member", { cert: "no certificate" }, /must be an X.509 certificate/);
refuses("set_member", { cert: CERTIFICATE, recovery_role: "Owner" }, /needs an encryption_pub_key/);
refuses("set_member", { cert: CERTIFICATE, recovery_role: "King", encryption_pub_key: "k" }, /must be one of/);
refuses("set_member", { cert: CERTIFICATE, memberdata: {} }, /no argument memberdata/);
carries("set_member", { cert: CERTIFICATE, member_data: { name: "Bank" } });
const id = ccf.pemToId(CERTIFICATE);
equal(readRow(MEMBER_INFO, textKey(id)), { member_data: { name: "Bank" }, status: "Accepted" });
equal(ccf.bufToStr(ccf.kv[MEMBER_CERTS].get(textKey(id))), CERTIFICATE);
equal(readRow(MEMBER_ACKS, textKey(id)).state_digest, ROOT);
