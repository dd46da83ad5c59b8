const TD = { mrtd: "ab".repeat(48), rtmrs: { 1: "cd".repeat(48) } };
refuses("remove_tdx_image", TD, /no such image/);
carries("add_tdx_image", TD);
carries("add_tdx_image", { mrtd: TD.mrtd });
refuses("remove_tdx_image", { ...TD, mrowner: "00".repeat(48) }, /no such image/);
carries("remove_tdx_image", { mrtd: TD.mrtd.toUpperCase(), rtmrs: TD.rtmrs });
equal(readRow(ATTESTATION_POLICY, textKey("tdx")), { images: [{ mrtd: TD.mrtd }] });
