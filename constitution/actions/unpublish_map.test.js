fails("unpublish_map", { map: "records" }, /there is no published map records/);
carries("publish_map", { map: "records" });
carries("unpublish_map", { map: "records" });
equal(readRow(PUBLISHED_MAPS, textKey("records")), undefined);
