use wwsim::scenario;
#[test]
fn dbg() {
    for t in std::fs::read_dir("/tmp/sc").unwrap() {
        let t = std::fs::read_to_string(t.unwrap().path()).unwrap();
        match scenario::load(&t, "x.yaml", None) {
            Ok(s) => println!("ok {}", s.name),
            Err(d) => println!("{d}"),
        }
    }
}
