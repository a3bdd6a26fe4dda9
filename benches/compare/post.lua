-- For wrk: sends POST instead of GET.
wrk.method = "POST"
