"""What a statement may say about the data centre that the workload runs in.

Names are words, not the symbols of Delegated Regulation (EU) 2024/1364: there `T_IN`
is a temperature and a traffic, `T_WH` is a temperature, and `C_BtG` is a power.
"""

from __future__ import annotations

from typing import Literal

from gridtwin.ai_energy.statement_fields import Group, Number, Text


class Site(Group):
    """The data centre: place, equipment and a year of its operation."""

    name: Text = None
    """Name."""
    owner: Text = None
    """Owner and contact."""
    operator: Text = None
    """Operator and contact."""
    country: Text = None
    """Country."""
    lau_code: Text = None
    """Local administrative unit."""
    nuts3_code: Text = None
    """NUTS level 3 region."""
    centre_type: Literal["enterprise", "colocation", "co-hosting"] | None = None
    """Type of data centre."""
    commissioned: Text = None
    """Year and month of the begin of operation."""
    redundancy_high_voltage: Text = None
    """Redundancy of the supply at high or medium voltage, such as N+1."""
    redundancy_low_voltage: Text = None
    """Redundancy of the low-voltage line-up."""
    redundancy_rack: Text = None
    """Redundancy of the supply of a rack."""
    cooling_redundancy_room: Text = None
    """Redundancy of the cooling of a room."""
    cooling_redundancy_rack: Text = None
    """Redundancy of the cooling of a rack."""
    size_class: Literal["100-500 kW", "500-1000 kW", "1-2 MW", "2-10 MW", "above 10 MW"] | None = None
    """Class by installed IT power."""
    it_power: Number = None
    """Power demand of the installed IT. [kW]"""
    it_power_basis: Literal["nominal", "time-weighted", "rated"] | None = None
    """How that power was found."""
    floor_area: Number = None
    """Floor of the data centre. [m2]"""
    computer_room_area: Number = None
    """Floor of the computer rooms. [m2]"""
    e_dc: Number = None
    """Energy of the whole data centre in the year, before its transfer switchgear. [kWh]"""
    e_dc_backup: Number = None
    """Energy of back-up generators. [kWh]"""
    e_it: Number = None
    """Energy of the IT equipment at the output of the UPS. [kWh]"""
    e_it_category: Literal[1, 2, 3] | None = None
    """Category of the point where it is metered: UPS output, PDU output, IT input."""
    metering_points: Text = None
    """Where the meters are."""
    grid_functions: Text = None
    """What it does for the grid, such as peak shifting; "none" where nothing."""
    grid_flexibility: bool | None = None
    """Whether it offers flexibility to the grid."""
    battery_offered: Number = None
    """Average battery power offered to the grid. [kW]"""
    water_in: Number = None
    """Water that comes in. [m3]"""
    water_potable: Number = None
    """Of it drinking water. [m3]"""
    water_fresh: Number = None
    """Fresh water. [m3]"""
    water_category: Literal[1, 2] | None = None
    """Category of the water metering."""
    heat_reused: Number = None
    """Heat that leaves for use elsewhere. [kWh]"""
    waste_heat_temperature: Number = None
    """Annual mean temperature of the waste heat. [degC]"""
    intake_temperature: Number = None
    """Annual mean set point of the air intake. [degC]"""
    waste_heat_ready: bool | None = None
    """Whether heat can be handed over."""
    refrigerants: tuple[str, ...] = ()
    """Refrigerants."""
    cooling_degree_days: Number = None
    """Cooling degree days over 21 degC. [degree-day]"""
    renewable_guarantees: Number = None
    """Renewable energy by guarantees of origin. [kWh]"""
    renewable_contracts: Number = None
    """Renewable energy by power purchase agreements. [kWh]"""
    renewable_on_site: Number = None
    """Renewable energy made on site. [kWh]"""
    renewable_total: Number = None
    """All renewable energy. [kWh]"""
    server_performance: Number = None
    """Active-state performance of the servers. [SERT]"""
    server_coverage: Number = None
    """Share of the floor that this figure covers. [%]"""
    storage_capacity: Number = None
    """Raw storage. [PB]"""
    bandwidth_in: Number = None
    """Provisioned bandwidth inwards. [GB/s]"""
    bandwidth_out: Number = None
    """Provisioned bandwidth outwards. [GB/s]"""
    traffic_in: Number = None
    """Data that came in. [EB]"""
    traffic_out: Number = None
    """Data that went out. [EB]"""
    pue: Number = None
    """Power usage effectiveness. [1]"""
    wue: Number = None
    """Water usage effectiveness, all water that comes in. [m3/MWh]"""
    wue_fresh: Number = None
    """Water usage effectiveness, fresh water. [m3/MWh]"""
    erf: Number = None
    """Energy reuse factor. [1]"""
    ref: Number = None
    """Renewable energy factor. [1]"""
    cue: Number = None
    """Carbon usage effectiveness. [kg/kWh]"""
    pue_class: Literal["A", "B", "C", "D", "E", "F", "G"] | None = None
    """Class of the PUE on the label."""
    wue_class: Literal["A", "B", "C", "D", "E", "F", "G"] | None = None
    """Class of the WUE on the label."""
