#!/bin/sh
#SPOOLMW time = "1m"
echo "hello from $(uname -n), a $(uname -sm) machine"
