//! A planted fault: `scripts/sanitize.sh` runs it to prove that the sanitizer works.

#[test]
#[expect(unsafe_code, reason = "the fault has to be one")]
fn is_found() {
    let Ok(fault) = std::env::var("DICAST_TEST_FAULT") else { return };
    let value = Box::into_raw(Box::new(1_u64)) as usize;
    let add = move || {
        // SAFETY: none. This is the planted fault: memory that is already freed, or that two threads write at once.
        unsafe { (value as *mut u64).write_volatile((value as *const u64).read_volatile() + 1) }
    };
    if fault == "address" {
        // SAFETY: it came out of a box and is freed once.
        drop(unsafe { Box::from_raw(value as *mut u64) });
        add();
    } else {
        let threads = [0, 1].map(|_| std::thread::spawn(move || (0..1000).for_each(|_| add())));
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
