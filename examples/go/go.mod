module dicast.example/judge

go 1.19
