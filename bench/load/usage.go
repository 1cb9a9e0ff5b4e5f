// What a measurement cost: CPU of this process and of the server's processes, and the server's memory, from /proc.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const clockTicks = 100 // USER_HZ, fixed by the Linux ABI

type usage struct {
	GeneratorCPU float64 `json:"generatorCpu"` // cores, over the measured time
	ServerCPU    float64 `json:"serverCpu"`    // cores, all processes of the server together
	OthersCPU    float64 `json:"othersCpu"`    // cores that everything else on the machine used: what a figure suffered from
	ServerRSS    float64 `json:"serverRssMb"`
}

type usageMark struct {
	at                         time.Time
	generator, server, machine time.Duration
}

func markUsage(pids []int) usageMark {
	var own syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	mark := usageMark{at: time.Now(), generator: time.Duration(own.Utime.Nano() + own.Stime.Nano())}
	for _, pid := range pids {
		mark.server += cpuOf(pid)
	}
	mark.machine = machineCPU()
	return mark
}

func (m usageMark) until(end usageMark, pids []int) usage {
	wall := end.at.Sub(m.at).Seconds()
	u := usage{
		GeneratorCPU: (end.generator - m.generator).Seconds() / wall,
		ServerCPU:    (end.server - m.server).Seconds() / wall,
	}
	u.OthersCPU = max(0, (end.machine-m.machine).Seconds()/wall-u.GeneratorCPU-u.ServerCPU)
	for _, pid := range pids {
		u.ServerRSS += residentMb(pid)
	}
	return u
}

func cpuOf(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, fields, _ := strings.Cut(string(text), ") ") // the command's name may hold spaces
	values := strings.Fields(fields)
	if len(values) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(values[11], 10, 64)
	system, _ := strconv.ParseInt(values[12], 10, 64)
	return time.Duration(user+system) * time.Second / clockTicks
}

// machineCPU is what all cores have spent on anything but idling and waiting, stolen time included.
func machineCPU() (busy time.Duration) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	const idle, wait, guest = 3, 4, 8 // guest time is part of user time
	for i, value := range strings.Fields(line)[1:] {
		if ticks, _ := strconv.ParseInt(value, 10, 64); i != idle && i != wait && i < guest {
			busy += time.Duration(ticks) * time.Second / clockTicks
		}
	}
	return busy
}

func residentMb(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	values := strings.Fields(string(text))
	if len(values) < 2 {
		return 0
	}
	pages, _ := strconv.ParseFloat(values[1], 64)
	return pages * float64(os.Getpagesize()) / (1 << 20)
}
