module stargus/bench/load

go 1.21
