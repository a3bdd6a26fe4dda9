"""A Modbus TCP server as people write it with pymodbus: a hundred holding registers of unit 1.

    pymodbus_server.py PORT
"""
import asyncio
import sys

from pymodbus.server import StartAsyncTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

registers = [SimData(address, values=address, datatype=DataType.REGISTERS) for address in range(100)]
asyncio.run(StartAsyncTcpServer(SimDevice(1, registers), address=("127.0.0.1", int(sys.argv[1]))))
