refuses("set_participant", { cert: "" }, /must be an X.509 certificate/);
carries("set_participant", { cert: CERTIFICATE, participant_data: { name: "Shop" } });
const key = textKey(ccf.pemToId(CERTIFICATE));
equal(ccf.bufToStr(ccf.kv[USER_CERTS].get(key)), CERTIFICATE);
equal(readRow(USER_INFO, key), { user_data: { name: "Shop" } });
carries("set_participant", { cert: CERTIFICATE });
equal(ccf.kv[USER_INFO].has(key), false);
