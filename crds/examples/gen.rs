fn main() {
    for crd in taffrail_crds::crds() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(taffrail_crds::file_name(&crd));
        std::fs::write(path, taffrail_crds::to_yaml(&crd).unwrap()).unwrap();
    }
}
