refuses("set_user", { cert: "" }, /must be an X.509 certificate/);
carries("set_user", { cert: CERTIFICATE, user_data: { name: "Shop" } });
const key = textKey(ccf.pemToId(CERTIFICATE));
equal(ccf.bufToStr(ccf.kv[USER_CERTS].get(key)), CERTIFICATE);
equal(readRow(USER_INFO, key), { user_data: { name: "Shop" } });
carries("set_user", { cert: CERTIFICATE });
equal(ccf.kv[USER_INFO].has(key), false);
