module imserver

go 1.26
